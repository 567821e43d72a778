"""The simulated world of the studies: what is wanted, who answers, and a closed loop over the pipeline's own steps."""

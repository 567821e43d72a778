"""The meta-monitor: when retraining is worth its price, and how well that was judged."""

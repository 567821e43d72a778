"""What the learning rules have to reach, point by point: run over many seeds, held against its bounds, and written down."""

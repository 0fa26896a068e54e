"""Long trainings: checkpoints, resumption, signals, profiling."""

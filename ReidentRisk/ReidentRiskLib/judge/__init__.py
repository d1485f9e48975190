"""What the scores of an attack mean: calibration, verdict, identification."""

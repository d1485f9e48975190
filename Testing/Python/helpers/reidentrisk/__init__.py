"""What the tests of ReidentRisk share."""

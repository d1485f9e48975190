"""What the tests of Reface in a scene share."""

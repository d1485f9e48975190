"""What an attacker does: render a head, find and align its face, compute its embedding."""

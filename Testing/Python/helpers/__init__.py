"""What the tests share: data, stand-ins for what takes long, and stand-ins for the application."""

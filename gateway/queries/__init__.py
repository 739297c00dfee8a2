"""What gateway nodes ask the workers and the archive on behalf of devices."""

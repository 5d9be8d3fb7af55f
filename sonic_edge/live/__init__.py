"""What people in front of the box see, hear and say."""

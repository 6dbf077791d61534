"""What a prepared folder holds, in numbers."""

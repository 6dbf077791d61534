"""What was tried to make the library faster, measured as before and after."""

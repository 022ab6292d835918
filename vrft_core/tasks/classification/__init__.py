"""Classification: what is the one thing that an image shows called? An answer is a name, not a choice from a list."""

"""`vrft serve`: a page on this machine where one drops an image and sees what a cell's models answer."""

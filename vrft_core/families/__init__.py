"""Model families: what an answer's numbers mean to each of them. Loading weights belongs to `policy`."""

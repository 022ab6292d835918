"""The page that says what came out, its charts and images. Numbers are computed in `evaluation`, never here."""

"""The page that says what came out, its charts and pictures. Numbers are computed in `evaluation`, never here."""

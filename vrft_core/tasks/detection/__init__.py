"""Detection: which boxes show objects of one category, and how sure is the model of each (or 'No Objects')."""

"""Where models and what goes into them come from: recipe, fixtures, loading, batches."""

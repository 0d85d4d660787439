"""The embedding store, nearest neighbours in it, and its export."""

"""Catalogues to try: one that is made on the spot (pictures, clips and texts), and a published sample shop."""

"""Load: pure shapes, named profiles, and the Locust user classes that children import. Imports nothing heavy."""

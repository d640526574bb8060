"""One folder for each thing that is supervised."""

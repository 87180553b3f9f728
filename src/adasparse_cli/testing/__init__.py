"""What an author of a model needs to check it: made-up rows, and what every model must do."""

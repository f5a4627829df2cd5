"""What fits are judged by: ranking, scores of the free run, how well the data determine the parameters."""

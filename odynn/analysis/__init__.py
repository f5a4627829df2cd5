"""What fits are judged by: ranking, and scores of the free run."""

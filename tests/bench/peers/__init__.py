"""What the service is measured against. Each takes the same submission and answers with the same fields."""

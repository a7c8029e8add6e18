"""What a job is to convert: found, named, sieved and shared out."""

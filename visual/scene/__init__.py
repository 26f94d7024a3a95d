"""What is to be seen of an event, whoever draws it: layers, colours, cuts, texts and sides to look from."""

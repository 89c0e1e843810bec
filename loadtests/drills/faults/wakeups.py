"""Wake-ups are lost, doubled or late, and the pipeline settles all the same: messages say nothing but "look"."""

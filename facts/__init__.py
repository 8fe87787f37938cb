"""What is: each fact is one command and one parser, and tells "cannot tell" (None) from "none"."""

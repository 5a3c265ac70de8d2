"""Files and pictures on a question, and reading long ones whole."""

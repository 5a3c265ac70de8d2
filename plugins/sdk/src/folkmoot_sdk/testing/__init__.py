"""The conformance kit: subclass one of these in a test file and learn which promise a plugin breaks."""

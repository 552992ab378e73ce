stands for a signing key

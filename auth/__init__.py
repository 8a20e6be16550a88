"""Pure rules of identity: passwords, tokens, OTPs, phone numbers. No storage, no HTTP."""

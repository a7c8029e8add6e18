"""The commands of converting, one module each: parse, call the library, print."""

"""The commands of `fw`, a module each."""

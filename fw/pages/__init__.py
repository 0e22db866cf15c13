"""What people see: the front page, the public page of an inbox, the owner's app, and what links lead to."""

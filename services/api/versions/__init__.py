"""The versions of the API, and what each of them means in the words of the newest one."""

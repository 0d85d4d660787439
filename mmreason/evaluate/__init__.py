"""Is a reason true, personal and well said, and is that better than saying the same thing every time?"""

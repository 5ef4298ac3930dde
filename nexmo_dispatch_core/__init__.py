"""What the SDK and the receiver share, below both: private files, and SQLite files with a log.

It is no public interface: names and signatures change without notice. Both packages import it, and it imports
neither of them.
"""

"""The layer that the SDK and the receiver share: vocabulary, lenient readers, checks, files and databases.

It is not a public interface: names and signatures change without notice. Both packages import it, and it
imports neither of them.
"""

"""Models that take raw text, repositories, configuration and deployment files of servers."""

"""Study JSON in; verdict, Markdown, one HTML page and plots out."""

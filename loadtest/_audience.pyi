from loadtest.audience_pure import Audience

__all__ = ["Audience"]

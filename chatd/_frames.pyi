from chatd.frames_pure import send_all, whole_messages

__all__ = ["send_all", "whole_messages"]

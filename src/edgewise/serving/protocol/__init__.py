"""The Open Inference Protocol: what is asked, checked, and written back."""

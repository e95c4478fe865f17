"""What training reads: footage, sound, the face."""

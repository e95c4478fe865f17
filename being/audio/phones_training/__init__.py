"""How the weights of `phones` are made: voices and text -> corpus -> augmentation -> training -> evaluation.

Command: ``python -m being.audio.phones_training --help``; docs/phones.md tells the story.
"""

"""Making and measuring models; the only place where Keras is imported."""

import os

# TensorFlow greets on stderr with what it was built for; errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

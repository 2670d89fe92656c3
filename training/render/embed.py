"""Face detection (YuNet) and identity embedding (SFace), as OpenCV ships them."""

import os

import cv2
import numpy as np

DETECTOR, RECOGNISER = 'face_detection_yunet_2023mar.onnx', 'face_recognition_sface_2021dec.onnx'


class FaceEmbedder:
    """Finds the largest face of a picture and turns it into a unit vector of 128 numbers."""

    def __init__(self, folder, size, threshold=0.6):
        self.detector = cv2.FaceDetectorYN.create(os.path.join(folder, DETECTOR), '', (size, size), threshold)
        self.recogniser = cv2.FaceRecognizerSF.create(os.path.join(folder, RECOGNISER), '')

    def landmarks(self, rgb):
        """Five points [5, 2] of the largest face (right eye, left eye, nose, right and left corner of the mouth), or None."""
        found = self.detector.detect(np.ascontiguousarray(rgb[..., ::-1]))[1]
        return None if found is None else max(found, key=lambda f: f[2] * f[3])[4:14].reshape(5, 2)

    def __call__(self, rgb):
        """(embedding, detection score), or None where no face is found."""
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        found = self.detector.detect(bgr)[1]
        if found is None:
            return None
        face = max(found, key=lambda f: f[2] * f[3])
        vector = self.recogniser.feature(self.recogniser.alignCrop(bgr, face)).ravel().astype(np.float64)
        return vector / np.linalg.norm(vector), float(face[14])

"""Opening the brain: what each area of a trained network encodes, and what it is needed for.

`python -m mjxhand.analyse RUN` does everything; each analysis is a function of arrays that a
notebook can call alone:

    recording   record.record, recording.Recording
    decoding    decoding.decode, decoding.chance, planning.profile, evidence.Evidence
    geometry    geometry.participation_ratio, geometry.linear_cka, geometry.rsa
    selectivity selectivity.encode, tuning.tuning
    dynamics    timescales.Autocorrelation, dynamics.fixed_points, tuning.paths
    causality   lesion.lesioned, lesion.measure
    saliency    saliency.integrated_gradients
"""

//! The verbs. It never knows HTTP.

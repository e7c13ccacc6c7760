-- A log that was copied under another id tells of its source by nothing but its records: an import asks which imports began at the
-- same moment. Sessions that are no imports, and a commit that makes none, pay nothing.
CREATE INDEX hw_session_started ON hw_session (started_at) WHERE origin IS NOT NULL;
